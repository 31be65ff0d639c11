# SPDX-License-Identifier: Apache-2.0
# Segments, opened with other people's programs; ./dev test puts those into build/venv.
set(arrow_python ${CMAKE_SOURCE_DIR}/build/venv/bin/python)
add_executable(write_segments support/write_segments.c)
target_link_libraries(write_segments PRIVATE pomai_test)
target_include_directories(write_segments PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
add_test(NAME scenario.arrow COMMAND sh -c "if [ -x $0 ]; then exec $0 \"$@\"; fi
    echo skipped: $0 is missing, ./dev test makes it; exit 77" ${arrow_python}
    ${CMAKE_CURRENT_SOURCE_DIR}/scenario/test_arrow.py $<TARGET_FILE:write_segments>)
set_tests_properties(scenario.arrow PROPERTIES TIMEOUT 300 LABELS scenario SKIP_RETURN_CODE 77)
