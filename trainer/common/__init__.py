"""What every part of the trainer needs: errors, files, the environment, random numbers."""
