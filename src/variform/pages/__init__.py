"""What is looked at: pictures, the report and the explorer."""
