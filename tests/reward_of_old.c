/* reward_of_old.c -- a plugin of a version that there is not. */
extern const int diffrl_reward_version;
const int diffrl_reward_version = 99;

int diffrl_reward(void);
int diffrl_reward(void) { return 0; }
