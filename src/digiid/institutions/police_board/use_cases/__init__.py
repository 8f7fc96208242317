"""What the board does: one public function per thing, a numbered ladder each."""
