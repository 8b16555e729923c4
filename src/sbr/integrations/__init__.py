"""Our rule, our rewards and our questions in other people's trainers and evaluations."""
