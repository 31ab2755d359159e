"""Code matching: two sides of one clip, one codebook."""
