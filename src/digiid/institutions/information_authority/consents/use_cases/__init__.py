"""What the consent service does: one module for each side that it serves, one public function per thing."""
