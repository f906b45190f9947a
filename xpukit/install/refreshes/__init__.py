"""What is made anew once at the end (`REFRESH = Refresh(...)`), one file each; found by directory scan."""
