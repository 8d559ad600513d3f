"""An AWS on this machine, for trying Holdfast and for its tests. Never deployed."""

ACCOUNT = "123456789012"
"""The one account there is; also the root access key, because ministack reads a 12-digit key as an account."""

HOME_REGION = "us-east-1"
"""The Region of whatever does not say which Region it belongs to."""
