"""FastGAN generators (Liu et al., ICLR 2021), as Projected GAN (Sauer et al., NeurIPS 2021) has them."""
