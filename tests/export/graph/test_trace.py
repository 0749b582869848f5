"""What a trace makes of the fused ops: one node each, with its definition's name and attributes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ddgan_deploy.export.graph.trace import trace
from ddgan_deploy.kernels.adagn_grad.spec import BY_ACTIVATION, adagn_grad


class Gradient(nn.Module):
    def __init__(self, activation: str) -> None:
        super().__init__()
        self.activation = activation
        self.style = nn.Parameter(torch.ones(1, 8))

    def forward(self, dy: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return adagn_grad(dy, x, self.style, self.style, 2, 1e-5, self.activation)


@pytest.mark.parametrize("activation", BY_ACTIVATION)
def test_a_gradient_of_adagn_is_one_node(activation: str) -> None:
    batch = torch.export.Dim("batch")
    image = torch.randn(2, 8, 4, 4)
    model = trace(Gradient(activation), (image, image), ({0: batch}, {0: batch}))
    (node,) = model.graph
    assert (node.domain, node.op_type) == ("ddgan", BY_ACTIVATION[activation].name)
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    assert attributes == {"groups": 2, "epsilon": pytest.approx(1e-5), "plugin_namespace": "ddgan"}
