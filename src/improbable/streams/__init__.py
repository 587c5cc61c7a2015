"""Points judged as they come: windows kept, alarms joined, thresholds that follow drift."""
