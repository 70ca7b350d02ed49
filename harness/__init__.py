"""The measurement: from a plan to a verdict that can be judged again."""
