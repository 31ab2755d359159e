"""From a mixture to its named stems."""
