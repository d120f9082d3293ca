"""What a file server of netbooted machines holds: roots made from images, what their firmware asks for, and its own free room."""
