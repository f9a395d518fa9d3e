"""`rjepa-cli store`: check, repair, move, merge and prune whole stores."""
