"""The run's command: started, told, outlived to its last descendant, and its output shipped."""
