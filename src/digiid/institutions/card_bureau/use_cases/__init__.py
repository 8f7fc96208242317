"""What the bureau does: orders and personalisation, movements, hand-over, desk administration."""
