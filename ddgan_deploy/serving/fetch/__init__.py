"""What serving needs beside this package, fetched."""
