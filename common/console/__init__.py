"""The console at `/console`: forms, answers, models and monitoring for people, by Gradio (extra `console`)."""
