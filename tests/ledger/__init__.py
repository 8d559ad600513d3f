"""The ledger on moto's DynamoDB: every conditional move, and what a lost race looks like."""
