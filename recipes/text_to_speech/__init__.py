"""Words to speech, in the voice of the studio prompts."""
