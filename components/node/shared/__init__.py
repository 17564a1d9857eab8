"""What every folder uses: errors, progress and time limits, files, commands, paths, the specification."""
