"""Why a build failed: from its log to an outcome."""
