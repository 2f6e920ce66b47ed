def mmkit_components(:
