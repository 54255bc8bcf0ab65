#include "cspm.h"
