"""Federated pretraining, simulated: clients keep their recordings, and send weights."""
