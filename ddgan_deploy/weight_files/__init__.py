"""Files of trained weights -> inert, checked contents."""
