"""What is compared with what: encoder, heads and loss of each paper."""
