"""The names of training arguments: those that are read, those that may be there, and those of other kinds of networks.

Sources: ``train_ddgan.py`` and ``test_ddgan.py`` of https://github.com/NVlabs/denoising-diffusion-gan; its forks
WaveDiff (wavelets), LDDGAN (latents of an autoencoder) and those that draw from a text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import NoneType

from ddgan_deploy.errors import InputError
from ddgan_deploy.names import short
from ddgan_deploy.weight_files.json_values import meant

_NAMES = """
    image_size num_channels centered num_channels_dae n_mlp ch_mult num_res_blocks attn_resolutions dropout
    resamp_with_conv conditional fir fir_kernel skip_rescale resblock_type progressive progressive_input
    progressive_combine embedding_type fourier_scale not_use_tanh nz z_emb_dim t_emb_dim ngf
    use_geometric beta_min beta_max num_timesteps
    seed resume exp dataset batch_size num_epoch lr_g lr_d beta1 beta2 no_lr_decay use_ema ema_decay r1_gamma lazy_reg
    save_content save_content_every save_ckpt_every compute_fid epoch_id real_img_dir
    num_proc_node num_process_per_node node_rank local_rank rank master_address world_size global_rank global_size
"""
_NAMES_OF_FORKS = """
    datadir master_port num_workers num_disc_layers rec_loss disc_net_type two_disc low_alpha high_alpha
"""
"""Without a say in what is drawn."""
_WAVELET_NAMES = """
    current_resolution ori_image_size train_mode two_gens use_pytorch_wavelet net_type
    no_use_fbn no_use_freq no_use_residual
"""
PUBLISHED = frozenset(_NAMES.split()) | frozenset(_NAMES_OF_FORKS.split())
"""What the published scripts, and forks that train the same network, say."""

_WAVELETS = "the wavelet coefficients of a picture"
_LATENTS = "the latents of an autoencoder"
_PATCHES = "patches of a picture, laid into channels"
_TEXT = "a picture of a text that it is given"
_OFF: Mapping[str, tuple[object, ...]] = {"patch_size": (1,), "net_type": ("normal",), "scale_factor": (1,)}
"""Values with which an argument says nothing, beside None, False, 0 and ""."""
_OTHER_NETWORKS: Mapping[str, str] = {
    **dict.fromkeys(("patch_size", "patchify"), _PATCHES),
    **dict.fromkeys(_WAVELET_NAMES.split(), _WAVELETS),
    **dict.fromkeys(("scale_factor", "sigmoid_learning", "first_stage_config", "first_stage_ckpt"), _LATENTS),
    **dict.fromkeys(("text_encoder", "cross_attention", "cond_size", "classifier_free_guidance_proba"), _TEXT),
}
_TELLING = (
    (re.compile(r"auto_?encoder|(^|_)(vae|vqvae|vqgan|kl_?vae)(_|$)|first_?stage", re.IGNORECASE), _LATENTS),
    (re.compile(r"wavelet|(^|_)i?dwt(_|$)", re.IGNORECASE), _WAVELETS),
    (re.compile(r"patchify", re.IGNORECASE), _PATCHES),
)
"""What the names of forks that nobody listed have in them."""


def refuse_other_networks(arguments: Mapping[str, object], source: str) -> None:
    """Refuses arguments which say that the network gives no picture, or takes more than noise.

    Args:
        arguments: name -> value.
        source: where they are from, for the error.

    Raises:
        InputError: there is one.
    """
    for name, value in arguments.items():
        if isinstance(value, (bool, int, float, str, NoneType)) and (not value or value in _OFF.get(name, ())):
            continue
        gives = _OTHER_NETWORKS.get(name) or next((what for sign, what in _TELLING if sign.search(name)), None)
        if gives is not None:
            raise InputError(
                f"{source}: {short(name)} says that the network gives {gives}, which is not supported: "
                "export a generator that draws pictures from noise"
            )


def refuse_unknown(arguments: Mapping[str, object], source: str) -> None:
    """Refuses names that no published script has.

    Args:
        arguments: name -> value.
        source: where they are from, for the error.

    Raises:
        InputError: there is one; says which it may be meant for.
    """
    for name, value in arguments.items():
        if name not in PUBLISHED and name not in _OTHER_NETWORKS:
            if isinstance(value, dict):
                raise InputError(
                    f"{source}: {short(name)} is a section: give the arguments themselves, without sections"
                )
            raise InputError(f"{source}: the argument {short(name)} is unknown{_hint(name)}")


def _hint(name: str) -> str:
    """What to do about an unknown name."""
    near = meant(name, PUBLISHED)
    if near:
        return f"; did you mean {near}? Correct it"
    return ": leave it out, or give the training script's own name of it, such as beta_max or not_use_tanh"
