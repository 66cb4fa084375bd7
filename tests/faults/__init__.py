"""What happens when something breaks: killed processes, full disks, damaged files, clocks set back, people who vanish. Real processes, real SQLite."""
