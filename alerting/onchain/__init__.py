"""Transactions for a blockchain, judged before they are sent. Imported only where `detectors.onchain` is enabled."""
