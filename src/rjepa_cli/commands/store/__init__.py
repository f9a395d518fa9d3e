"""`rjepa-cli store`: verify, repair, move, merge and prune whole stores."""
