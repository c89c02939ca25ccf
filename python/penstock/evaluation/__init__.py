"""What quality is measured with: pictures in known styles, clips of known motion, and the measures."""
