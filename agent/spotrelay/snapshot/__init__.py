"""Remember a directory: scan it, pack its bytes, save a manifest over them, restore and verify it."""
