"""What an exported model runs: reading images, test-time views, blending. Imports nothing of Retable."""
