"""Our side of every wire; each adapter translates one outside language into `models`."""
