"""Musical source association: a mixture belongs with its own stem."""
