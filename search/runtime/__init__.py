"""What every process of the service needs: folders, signals, devices, console output, failure policies."""
