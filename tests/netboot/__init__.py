"""Netbooting proved without Pis: what their boot ROMs ask for, and a whole emulated ARM machine that boots from a rack's server."""
