"""The card bureau: personalises chips, carries them to the pick-up points, hands them over."""
