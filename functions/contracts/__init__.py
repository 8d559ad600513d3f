"""What crosses the wall: messages from AWS, messages to the outside, and the settings a person writes."""
