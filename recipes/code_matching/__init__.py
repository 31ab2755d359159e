"""Code matching: two modalities of one clip, one codebook."""
