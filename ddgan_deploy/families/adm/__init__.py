"""ADM: the diffusion UNet with adaptive norms of Dhariwal & Nichol 2021, its upsamplers and its classifiers."""
