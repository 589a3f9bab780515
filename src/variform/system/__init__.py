"""What the machine needs: files, locks, processes, draws, threads, compiled code, memory, signals and terminals."""
