"""How methods are run, stage by stage; knows no corpus."""
