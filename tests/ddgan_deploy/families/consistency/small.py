"""Small consistency models: ADM's networks with the published code's attention, and what is to be stated of them."""

from __future__ import annotations

from tests.ddgan_deploy.families.adm.made import Made, made


def network(**options) -> Made:
    """Weights in ADM's form, of which `stored` makes the published one."""
    fixed = {"use_new_attention_order": True, "learn_sigma": False}
    return made(**{"image_size": 16, "attention": (1,), **options, **fixed})


def stored(it: Made):
    """As files have them: products of every pixel are 2-D convolutions."""
    attention = (".qkv.weight", ".proj_out.weight")
    return {name: value[..., None] if name.endswith(attention) else value for name, value in it.weights.items()}


PLAIN = network(use_scale_shift_norm=False)
CLASSES = network(num_classes=3)
NETWORKS = {"plain": PLAIN, "classes": CLASSES}
ARGUMENTS = CLASSES.arguments | {"training_mode": "consistency_distillation"}
TWO_STEPS = {"ts": "0,22,39", "steps": 40}
