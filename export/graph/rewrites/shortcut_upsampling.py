"""The shortcut's 1x1 convolution runs before its up-sampling, on a quarter of the pixels.

    Conv(ConvTranspose(x, f), w, b)  ->  ConvTranspose(Conv(x, w), f, b)
    Conv(Resize(x), w, b)            ->  Resize(Conv(x, w, b))

One mixes channels and the other pixels, so they commute. The filter lets what lies beyond the border
be zero, a bias too, which therefore stays after it.
"""

from __future__ import annotations

import onnx_ir as ir

from ddgan_deploy.export.graph.rewrites.filters import is_filter


def hoist_shortcuts(graph: ir.Graph) -> int:
    """Rewrites every match in place.

    1. The convolution has a 1x1 kernel, as many outputs as inputs, and neither stride nor padding.
    2. What it reads is up-sampled, by the nearest neighbour or by one filter for all channels without bias,
       and read by nothing else.

    Returns:
        Number of convolutions that moved.
    """
    count = 0
    for conv in list(graph):
        up = _upsampling(conv)
        if up is None:
            continue
        x, result = up.inputs[0], conv.outputs[0]
        assert x is not None
        graph.remove(up)
        graph.insert_after(conv, up)
        ir.convenience.replace_all_uses_with(result, up.outputs[0], replace_graph_outputs=True)
        up.outputs[0].shape, result.shape = result.shape, x.shape
        conv.replace_input_with(0, x)
        up.replace_input_with(0, result)
        if up.op_type == "ConvTranspose":
            up.resize_inputs(3)
            up.replace_input_with(2, conv.inputs[2])
            conv.resize_inputs(2)
        count += 1
    return count


def _upsampling(conv: ir.Node) -> ir.Node | None:
    """The node that up-samples what a pointwise convolution reads, if the two can change places."""
    if conv.op_type != "Conv" or len(conv.inputs) != 3:
        return None
    x, weight, _ = conv.inputs
    up = x.producer() if x is not None else None
    if x is None or up is None or len(x.uses()) != 1 or weight is None or weight.const_value is None:
        return None
    outputs, inputs, *kernel = weight.const_value.shape.numpy()
    pointwise = kernel == [1, 1] and not any(
        set(conv.attributes[name].as_ints()) - {default}
        for name, default in (("strides", 1), ("pads", 0))
        if name in conv.attributes
    )
    return up if pointwise and inputs == outputs and _is_upsampling(up) else None


def _is_upsampling(node: ir.Node) -> bool:
    if node.op_type == "Resize":
        return node.attributes["mode"].as_string() == "nearest"
    if node.op_type != "ConvTranspose" or not is_filter(node) or len(node.inputs) != 2:
        return False
    assert node.inputs[1] is not None and node.inputs[1].const_value is not None
    kernels = node.inputs[1].const_value.numpy()
    return bool((kernels == kernels[:1]).all())
