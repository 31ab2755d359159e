"""SPEAR: masked prediction of the codes that frozen teachers give speech and other audio."""
