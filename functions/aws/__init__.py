"""Touches AWS. The only room with boto3; what each call needs of IAM is declared beside the call."""
