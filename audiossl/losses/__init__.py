"""Functions of tensors that return what is minimized: no parameters, no communication."""
