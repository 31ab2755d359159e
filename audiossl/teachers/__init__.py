"""Networks from elsewhere, frozen: encoders to compare with, and teachers that supply targets."""
